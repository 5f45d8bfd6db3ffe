"""Our own ALFWorld engine: game files, rules, texts, synthetic kitchens and a scripted player (environments.md)."""
