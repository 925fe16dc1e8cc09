/* A master on libmodbus, written against its manual and not against our code: it does what stands on its input, one
 * request a line, and prints what came of each. Built and run by test_libmodbus.py.
 *
 *   master rtu /dev/pts/3 38400        master tcp 127.0.0.1 15020
 *
 *   coils UNIT ADDRESS COUNT     discrete ...     holding ...     input ...      reads: the values, or `error TEXT`
 *   coil UNIT ADDRESS VALUE      register UNIT ADDRESS VALUE                      writes one: `written`
 *   many_coils UNIT ADDRESS V V V ...     many_registers UNIT ADDRESS V V V ...   writes several: `written`
 *   both UNIT READ_ADDRESS COUNT WRITE_ADDRESS VALUE                              function 23
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64

static int say(const char *verb, modbus_t *ctx, int address, const int *given, int count)
{
    uint8_t bits[MOST] = {0};
    uint16_t words[MOST] = {0};
    int done;

    for (int i = 0; i < count && i < MOST; i++) {
        bits[i] = given[i] != 0;
        words[i] = (uint16_t) given[i];
    }
    if (!strcmp(verb, "coils") || !strcmp(verb, "discrete")) {
        done = *verb == 'c' ? modbus_read_bits(ctx, address, given[0], bits)
                            : modbus_read_input_bits(ctx, address, given[0], bits);
        for (int i = 0; i < done; i++)
            printf("%d ", bits[i]);
    } else if (!strcmp(verb, "holding") || !strcmp(verb, "input")) {
        done = *verb == 'h' ? modbus_read_registers(ctx, address, given[0], words)
                            : modbus_read_input_registers(ctx, address, given[0], words);
        for (int i = 0; i < done; i++)
            printf("%d ", words[i]);
    } else if (!strcmp(verb, "both")) {
        uint16_t written = (uint16_t) given[2];
        done = modbus_write_and_read_registers(ctx, given[1], 1, &written, address, given[0], words);
        for (int i = 0; i < done; i++)
            printf("%d ", words[i]);
    } else {
        if (!strcmp(verb, "coil"))
            done = modbus_write_bit(ctx, address, given[0]);
        else if (!strcmp(verb, "register"))
            done = modbus_write_register(ctx, address, given[0]);
        else if (!strcmp(verb, "many_coils"))
            done = modbus_write_bits(ctx, address, count, bits);
        else if (!strcmp(verb, "many_registers"))
            done = modbus_write_registers(ctx, address, count, words);
        else
            return 2;
        if (done != -1)
            printf("written");
    }
    if (done == -1)
        printf("error %s", modbus_strerror(errno));
    printf("\n");
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    modbus_t *ctx = NULL;
    char line[512];

    if (argc == 4 && !strcmp(argv[1], "rtu"))
        ctx = modbus_new_rtu(argv[2], atoi(argv[3]), 'N', 8, 1);
    else if (argc == 4 && !strcmp(argv[1], "tcp"))
        ctx = modbus_new_tcp(argv[2], atoi(argv[3]));
    if (ctx == NULL || modbus_set_response_timeout(ctx, 2, 0) == -1 || modbus_connect(ctx) == -1) {
        fprintf(stderr, "master: %s\n", modbus_strerror(errno));
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        char *verb = strtok(line, " \n"), *word = verb ? strtok(NULL, " \n") : NULL;
        int unit = word ? atoi(word) : -1, address, given[MOST] = {0}, count = 0;

        word = strtok(NULL, " \n");
        address = word ? (int) strtol(word, NULL, 0) : -1;
        while (count < MOST && (word = strtok(NULL, " \n")) != NULL)
            given[count++] = (int) strtol(word, NULL, 0);
        if (!verb || unit < 0 || address < 0 || count == 0 || modbus_set_slave(ctx, unit) == -1
            || say(verb, ctx, address, given, count)) {
            fprintf(stderr, "master: what is %s?\n", verb ? verb : "that");
            return 2;
        }
    }
    modbus_close(ctx);
    modbus_free(ctx);
    return 0;
}
