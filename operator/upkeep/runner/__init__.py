"""What a Job's Pod executes: the steps of its order, one after the other, and the report that it leaves behind."""
