"""The rollout: plays tasks with vLLM against env servers and publishes what happened."""
