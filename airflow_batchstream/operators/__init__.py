"""What a Dag author imports: arguments in, a job in Batch, its lines in the task log, XCom out."""
