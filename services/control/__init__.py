"""The control service: status, wishes, scaling, dead letters over HTTP. Off the data path: a run goes on without it."""
