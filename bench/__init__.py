"""Speed and memory, measured as ratios against a peer or the wire; each prints one JSON object as its last line."""
