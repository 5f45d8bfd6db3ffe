"""`hiper up`: start the services of a run on one machine, keep them alive, show what they do, leave nothing behind."""
