"""Other people's gateways beside ours, on the same emulated line: `setup.sh` fetches them, `run.py` measures."""
