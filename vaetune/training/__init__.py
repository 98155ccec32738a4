"""The training engine: `members` stacks models, `adam` steps them, `group` trains them, `routes` picks arithmetic."""
