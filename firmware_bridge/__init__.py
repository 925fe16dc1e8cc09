"""All that talks to devices. Floors F0-F2 are pure machines and codecs; F6 (link, probe) carries bytes."""
