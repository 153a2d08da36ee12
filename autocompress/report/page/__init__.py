"""The report as one HTML file that needs nothing else, and as pictures: figures, tables and the words between them."""
