"""The classroom: sessions, explorables, the exercise engine, claims, the headless runner and the command line."""
