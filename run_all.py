"""The main job: measure what is missing, then render the report. `python run_all.py --help` lists the options."""

from ablations.cli import main

if __name__ == "__main__":
    main()
