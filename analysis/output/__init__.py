"""How tables, figures and the report are written."""
