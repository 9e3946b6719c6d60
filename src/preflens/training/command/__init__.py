"""`preflens train`: read the configuration, launch the processes, read the data, and run.

In the order of a run: `configuration` and `validation` before anything is loaded, `launch` starts the processes of
`main`, which reads pairs (`data`, `tokenized_data`), loads the model (`starting_point`), trains, and compares answers
(`samples`, `before_after`). `messages` prints to the console.
"""
