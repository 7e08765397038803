"""How each action of a step is carried out: one module an action, or a pair that belongs together."""
