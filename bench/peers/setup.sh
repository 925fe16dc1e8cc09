#!/bin/sh
# The peers, each in a throw-away venv of its own: sh bench/peers/setup.sh [FOLDER]
# Nothing outside the folder is changed; delete it when done. Versions are those the table of docs/benchmarks.md names.
set -eu
folder=${1:-$(python3 -c 'import tempfile; print(tempfile.gettempdir())')/siren-peers}
mkdir -p "$folder"

venv() {  # NAME PACKAGE...
    name=$1
    shift
    [ -x "$folder/$name/bin/python" ] || python3 -m venv "$folder/$name"
    "$folder/$name/bin/pip" install -q --disable-pip-version-check "$@"
}

# pymodbus and aiomqtt as their documentation uses them: plain.py here is the script.
venv plain 'pymodbus[serial]==3.16.1' aiomqtt==2.5.1

# modpoll does not bring the pyserial that its serial lines need.
venv modpoll modpoll==1.6.0 pyserial==3.5
# FOR MEASURING ONLY: as released, the first write that comes by MQTT ends the process, because it calls pymodbus
# with a keyword of older versions. One word is put right, in the two places where it stands.
task=$("$folder/modpoll/bin/python" -c 'import importlib.util as u; print(u.find_spec("modpoll").submodule_search_locations[0])')
sed -i 's/address, value, unit=dev.devid/address, value, slave=dev.devid/' "$task/modbus_task.py"

# ThingsBoard's Modbus connector installs these itself when it first starts; here it finds them.
venv thingsboard thingsboard-gateway==3.8.5
venv thingsboard pymodbus==3.9.2 pyserial==3.5 pyserial-asyncio==0.6

echo "the peers are in $folder"
