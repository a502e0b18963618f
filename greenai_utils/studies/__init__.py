"""One folder a chapter: what it plans, measures, tabulates, draws and says."""
