"""One training or many at once: what defines it, and how it is carried out and judged."""
