"""Many model_dirs: in threads and processes of this machine, or on any runner of Apache Beam.

    report = convert_many(["jobs/a", "jobs/b"], output_root="converted", to="tf2")
    report.ok, report.counts, report.rows

`listing` says which and where to, `work` does one, `workers` does many, `beam` does more.
"""
