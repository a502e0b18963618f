"""What all figures share: palette, width and markers."""

PALETTE = "colorblind"
WIDTH = 7.2  # inches, the text width of a two-column page
MARKERS = "osD^vPX*<>hp"
