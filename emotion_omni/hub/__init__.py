"""The hub engine: hear, answer and speak with large models named by Hugging Face id, for those who have a GPU."""
