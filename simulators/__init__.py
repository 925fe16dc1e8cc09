"""All the hardware, played from the same profiles that the gateway drives with."""
