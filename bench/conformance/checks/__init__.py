"""The checks that prove requirements: plain functions, `@proves` by id, that pytest runs one by one."""
