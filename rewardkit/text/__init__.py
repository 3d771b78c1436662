"""Text: responses into steps, final answers out of responses, prompts and steps into token ids."""
