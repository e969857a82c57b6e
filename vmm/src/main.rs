//! `microvm`: the reference VMM's command line.

use std::io::{self, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::Instant;

use vmm::board::config::Config;
use vmm::cli::{Cli, CliError, Command, InspectArgs, QtestSocket};
use vmm::inspect_cli;
use vmm::kvm;
use vmm::machine::Machine;
use vmm::qtest::Server;

fn main() -> ExitCode {
    // Boot marks count from here.
    let started = Instant::now();
    match run(started) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(started: Instant) -> Result<ExitCode, CliError> {
    let cli = match Cli::parse_arguments(std::env::args_os())? {
        Ok(cli) => cli,
        Err(help) => {
            print(&help)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match cli.command {
        Command::Run(args) => {
            let (config, options) = args.parse()?;
            let status = kvm::run(&config, &options, started).map_err(|error| match error.is_usage() {
                true => CliError::Usage(error.to_string()),
                false => CliError::Failed(error.to_string()),
            })?;
            kvm::leave(status)
        }
        Command::Qtest(args) => {
            let (config, socket) = args.parse()?;
            qtest(&config, socket.as_ref())
        }
        Command::Inspect(args) => inspect(&args),
    }
}

fn inspect(args: &InspectArgs) -> Result<ExitCode, CliError> {
    let mut config = args.machine.config_without_host("inspect")?;
    config.kvm = args.kvm;
    let mut machine = power_on(&config)?;
    print(&inspect_cli::table(&mut machine, args.table, args.format))?;
    Ok(ExitCode::SUCCESS)
}

fn qtest(config: &Config, socket: Option<&QtestSocket>) -> Result<ExitCode, CliError> {
    let mut server = Server::new(power_on(config)?);
    let Some(QtestSocket { path, server: listen }) = socket else {
        let served = server.serve(io::stdin().lock(), io::stdout().lock());
        return ended(served, "standard input and output");
    };
    let name = format!("--socket 'unix:{}'", path.display());
    let fail = |error: io::Error, fix: &str| CliError::Failed(format!("{name}: {error}; {fix}"));
    if !listen {
        let stream =
            UnixStream::connect(path).map_err(|error| fail(error, "let the test listen first, or add server=on"))?;
        return serve(&mut server, &stream, &name);
    }
    let listener = UnixListener::bind(path).map_err(|error| fail(error, "remove the path or choose another"))?;
    loop {
        // One test after the other; the machine goes on.
        let (stream, _) = listener.accept().map_err(|error| fail(error, "start again"))?;
        serve(&mut server, &stream, &name)?;
    }
}

fn serve(server: &mut Server, stream: &UnixStream, name: &str) -> Result<ExitCode, CliError> {
    ended(server.serve(BufReader::new(stream), stream), name)
}

/// A test that goes away has ended, not failed.
fn ended(served: io::Result<()>, name: &str) -> Result<ExitCode, CliError> {
    match served {
        Err(error) if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Err(CliError::Failed(format!("{name}: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn power_on(config: &Config) -> Result<Machine, CliError> {
    let machine = Machine::new(config)?;
    for warning in &machine.board().warnings {
        complain(&format!("warning: {warning}"));
    }
    Ok(machine)
}

/// One line on standard error. Nobody may be there to read it, which changes nothing.
fn complain(text: &str) {
    let _unread = writeln!(io::stderr(), "microvm: {text}");
}

fn print(text: &str) -> Result<(), CliError> {
    let printed = io::stdout().write_all(text.as_bytes());
    ended(printed, "standard output").map(|_| ())
}
