"""What the tests stand on: the real testbed, gateway processes, a client, a cuttable network."""
