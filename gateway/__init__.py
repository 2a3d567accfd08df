"""The server's side: telegrams to vehicle states and events, commands to units."""
