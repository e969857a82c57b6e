//! `microvm`: the reference VMM's command line.

use std::process::ExitCode;

use vmm::cli::{Cli, CliError, Command};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("microvm: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<ExitCode, CliError> {
    let cli = match Cli::parse_arguments(std::env::args_os())? {
        Ok(cli) => cli,
        Err(help) => {
            print!("{help}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    match cli.command {
        Command::Run(args) => {
            let (_config, _options) = args.parse()?;
            Err(CliError::Failed("run: this build has no KVM support".into()))
        }
        Command::Qtest(args) => {
            let (_config, _socket) = args.parse()?;
            Err(CliError::Failed("qtest: not served yet".into()))
        }
        Command::Inspect(args) => {
            let _config = args.machine.config_without_host("inspect")?;
            Err(CliError::Failed("inspect: no table yet".into()))
        }
    }
}
