"""What is left of a model fitted to what was there: closed forms that fold into stock weights."""
