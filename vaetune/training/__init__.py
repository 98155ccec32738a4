"""The training engine: `members` stacks models, `adam` steps them, `group` trains them, `routes` sets the arithmetic."""
