"""What a model is measured on: text and multiple-choice tasks, as padded batches."""
