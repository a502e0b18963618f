"""What a notebook calls, and how notebooks become a report that can be verified."""
