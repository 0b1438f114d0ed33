# Tests that are not plain Catch2 programs, and properties of those that are.
