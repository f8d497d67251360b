"""From the records of all tests to one summary, and from it to a table, JSON and a page."""
