"""WITH WHAT: contrast agents, radiopharmaceuticals and consumables, their lots, and how many there are where."""
