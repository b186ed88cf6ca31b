"""Access control: keys, rate limits and quotas."""
