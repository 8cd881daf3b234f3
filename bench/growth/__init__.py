"""How cost grows with what there is more of: servers, accounts, log, payload, connections."""
