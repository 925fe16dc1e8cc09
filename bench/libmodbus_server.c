/* A Modbus TCP server by somebody else: libmodbus, one connection after the other. Prints its port. */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(100, 100, 100, 100);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    struct sockaddr_in where;
    socklen_t size = sizeof where;
    int listener, n, connection;

    if (ctx == NULL || map == NULL || (listener = modbus_tcp_listen(ctx, 4)) < 0) {
        fprintf(stderr, "libmodbus: %s\n", modbus_strerror(errno));
        return 1;
    }
    for (n = 0; n < 100; n++) map->tab_registers[n] = (uint16_t)n;
    getsockname(listener, (struct sockaddr *)&where, &size);
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    for (;;) {
        if (modbus_tcp_accept(ctx, &listener) < 0) return 1;
        while ((n = modbus_receive(ctx, query)) >= 0)
            if (n > 0 && modbus_reply(ctx, query, n, map) < 0) break;
        connection = modbus_get_socket(ctx);
        if (connection >= 0) close(connection);
    }
}
