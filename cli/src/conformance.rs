//! `peernet conformance`.

use std::path::PathBuf;

use peernet_conformance::{Program, Reference, Suite, built_in, run as run_suite, serve};

use crate::failure::Failure;

/// What `peernet conformance` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A program to test instead of this build: it is asked on its stdin and answers on its stdout
    #[arg(long, value_name = "COMMAND")]
    against: Option<String>,
    /// Answer the suite's questions on stdin and stdout, as a program under test does
    #[arg(long, conflicts_with_all = ["against", "vectors", "json"])]
    serve: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    /// Files of vectors or transcripts, instead of those that come with this command
    vectors: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    if args.serve {
        return Ok(serve(std::io::stdin().lock(), std::io::stdout().lock())?);
    }
    let suite = suite(&args.vectors)?;
    let report = match &args.against {
        None => run_suite(&mut Reference::default(), &suite),
        Some(command) => {
            let program = Program::start(command);
            let mut program =
                program.map_err(|error| Failure::failed(format!("cannot start `{command}`: {error}")))?;
            run_suite(&mut program, &suite)
        }
    };
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    match report.is_clean() {
        true => Ok(()),
        false => Err(Failure::told()),
    }
}

fn suite(files: &[PathBuf]) -> Result<Suite, Failure> {
    if files.is_empty() {
        return Ok(built_in());
    }
    let mut suite = Suite::default();
    for file in files {
        let unusable = |problem: String| Failure::failed(format!("{}: {problem}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        suite.add(&text).map_err(|error| unusable(error.to_string()))?;
    }
    Ok(suite)
}
