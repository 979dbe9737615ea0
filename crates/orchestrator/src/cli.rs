//! The command line.

#![allow(clippy::doc_markdown, reason = "doc comments are the help text here, and backticks would show")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::SettingFlags;
use crate::exit::Exit;
use crate::ui::Output;

/// Gives every learner of a workshop an isolated workspace, a seat.
#[derive(Debug, Parser)]
#[command(name = "orchestrator", version, after_help = Exit::HELP, max_term_width = 110)]
pub(crate) struct Cli {
    /// How results are printed.
    ///
    /// The columns of tsv: seats have WORKSHOP SEAT STATUS ID IP ENDPOINT PORTS IMAGE REASON, 'class up' has the
    /// OUTCOME before them and CAME_UP STAGES behind, workshops have WORKSHOP SEATS RUNNING STARTING STOPPED ERROR, 'doctor', 'rootfs inspect' and
    /// 'microvm' have LEVEL CHECK DETAIL REMEDY, 'rootfs build' has IMAGE ROOTFS SIZE ALLOCATED SHA256 OUTCOME, 'rootfs list'
    /// ENTRY STATE NAMES PLATFORM SIZE ALLOCATED USED NEEDED_BY, 'rootfs verify' ENTRY RESULT DIGEST FILE_SYSTEM and
    /// 'rootfs gc' ENTRY OUTCOME ALLOCATED. More may come after the last one in a later version.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "table",
        env = "ORCHESTRATOR_OUTPUT",
        hide_env_values = true
    )]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service.
    ///
    /// Every setting can stand in a file, in the environment and in a flag; the later one wins. The file is the
    /// one named by --config or ORCHESTRATOR_CONFIG, else ./orchestrator.toml, else
    /// /etc/clarateach/orchestrator.toml. SIGTERM or Ctrl-C lets running work end; a second one ends at once.
    Serve(Box<Serve>),
    /// Bring up, show and remove the seats of a workshop.
    #[command(subcommand, after_help = Exit::HELP)]
    Class(Class),
    /// Make, show and remove single seats.
    #[command(subcommand, after_help = Exit::HELP)]
    Seat(Seat),
    /// Turn images into bootable file systems, and look after those that are kept. Works without the service.
    #[command(subcommand, after_help = Exit::HELP)]
    Rootfs(Rootfs),
    /// Prepare this host for seats as microVMs, and show what is prepared. Works without the service.
    #[command(subcommand, after_help = Exit::HELP)]
    Microvm(Microvm),
    /// Check whether this host can run seats, and say what to do where it cannot.
    Doctor(Box<Doctor>),
    /// Ask the service whether it is ready; the exit code tells. For health checks of container engines.
    Healthcheck(Healthcheck),
    /// Print a script that completes commands in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the reference of the settings as Markdown.
    #[command(hide = true)]
    ConfigReference,
    /// Keep one microVM: the service starts it, and it outlives the service.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    VmmKeeper,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration file [env: ORCHESTRATOR_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the configuration in force, with where each value comes from, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The configuration file [env: ORCHESTRATOR_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The service's address; without it, the one that the configuration says.
    #[arg(long, env = "ORCHESTRATOR_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// The configuration file [env: ORCHESTRATOR_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The service's address; without it, the one that the file and the environment say.
    #[arg(long, env = "ORCHESTRATOR_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
}

/// Where a service listens that nobody configured otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Where the service is, and how to be let in.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The service's address.
    #[arg(long, env = "ORCHESTRATOR_URL", default_value = DEFAULT_URL, help_heading = "Service")]
    pub(crate) url: String,
    /// The file with the service's token; ORCHESTRATOR_TOKEN can hold the token itself [env: ORCHESTRATOR_TOKEN_FILE].
    #[arg(long, value_name = "FILE", help_heading = "Service")]
    pub(crate) token_file: Option<PathBuf>,
}

/// What a seat, or every seat of a class, shall be.
#[derive(Debug, Args)]
pub(crate) struct Wish {
    /// The image, when not the service's default.
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// A variable for the workspace; others can see it in the process list, so secrets go into --env-file.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// A file with lines NAME=VALUE; blank lines and lines that begin with # are skipped.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// CPUs, such as 1.5.
    #[arg(long)]
    pub(crate) cpus: Option<f64>,
    /// Memory in MiB.
    #[arg(long)]
    pub(crate) memory_mib: Option<u32>,
    /// Processes and threads.
    #[arg(long)]
    pub(crate) pids: Option<u32>,
    /// The file with the workspace's api key, or - for standard input [env: ORCHESTRATOR_API_KEY holds the key itself].
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Class {
    /// Make what is missing of a class, side by side; seats that are there as wished are left alone.
    Up {
        /// The workshop.
        workshop: String,
        /// How many seats, from 1; or which: "1,2,5", "3-7,9", "4," for one alone.
        #[arg(long)]
        seats: String,
        /// Also remove seats that are not wished for, with their data.
        #[arg(long)]
        prune: bool,
        /// With --prune: keep the data of what is removed.
        #[arg(long, requires = "prune")]
        keep_data: bool,
        /// End after this long, such as 2m; the service goes on with what it began.
        #[arg(long, value_name = "DURATION")]
        wait: Option<String>,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the workshops, or the seats of one.
    List {
        /// The workshop.
        workshop: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove all seats of a workshop.
    Down {
        /// The workshop.
        workshop: String,
        /// Keep the learners' data for when the seats are made again.
        #[arg(long)]
        keep_data: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Seat {
    /// Make a seat, or find the one that is there.
    Create {
        /// The workshop.
        workshop: String,
        /// The seat's number.
        seat: String,
        /// How long to wait until the seat answers, such as 2m.
        #[arg(long, value_name = "DURATION")]
        wait: Option<String>,
        #[command(flatten)]
        wish: Wish,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the seats of a workshop.
    List {
        /// The workshop.
        workshop: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show one seat.
    Show {
        /// The workshop.
        workshop: String,
        /// The seat's number.
        seat: String,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove a seat.
    Destroy {
        /// The workshop.
        workshop: String,
        /// The seat's number.
        seat: String,
        /// Keep the learner's data for when the seat is made again.
        #[arg(long)]
        keep_data: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rootfs {
    /// Make the file system of an image, into the store or into a file.
    Build(Box<Build>),
    /// Say whether an image can boot, what it starts, as whom and on which ports, and what it lacks.
    Inspect {
        #[command(flatten)]
        image: WhichImage,
        #[command(flatten)]
        place: Place,
    },
    /// Show what the store has.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Read kept file systems as a whole: are they still what was made? Also runs e2fsck where it is installed.
    Verify {
        /// Images or entries by the beginning of their digest; all when none is named.
        entries: Vec<String>,
        /// Remove what is damaged and not in use.
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Remove kept file systems that nobody needs; never one that is in use.
    Gc {
        /// Those that were not used for so long, such as 30d or 12h.
        #[arg(long, value_name = "DURATION")]
        unused_for: Option<String>,
        /// Those used longest ago, until the rest takes no more of the disk than this, such as 20GiB.
        #[arg(long, value_name = "SIZE")]
        keep: Option<String>,
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Microvm {
    /// Take a kernel, check that it has what seats need, and make the first root with the guest agent and the kernel's
    /// modules. Seats that run are not disturbed; those that start afterwards have the new kernel.
    Setup {
        /// The folder of an unpacked kernel package (boot/vmlinuz-*, lib/modules/*), or a kernel, bzImage or ELF; without
        /// it, the host's own in /boot. A kernel that has everything in itself ('make kernel') needs no modules.
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
        /// The guest agent, a static program; without it, the file guest-agent beside this program, else
        /// /usr/libexec/clarateach/guest-agent.
        #[arg(long, value_name = "FILE")]
        agent: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Show which kernel new seats start with.
    Status {
        #[command(flatten)]
        place: Place,
    },
}

/// What `rootfs build` makes.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) image: WhichImage,
    /// Write to this file instead of the store; what the image says about running it comes beside it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the file.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// How large the file system is, such as 4GiB; without it, what the image needs and a sixteenth more.
    #[arg(long)]
    pub(crate) size: Option<String>,
    /// A program to place in it as /.clarateach/init, so that the file boots by itself.
    #[arg(long, value_name = "PATH")]
    pub(crate) init: Option<PathBuf>,
    /// What writes the file system.
    #[arg(long, value_enum, default_value = "mkext4")]
    pub(crate) writer: Writer,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// What writes a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Writer {
    /// The fast one: content streams to its place.
    Mkext4,
    /// The reference, by mke2fs and debugfs of e2fsprogs.
    Mke2fs,
}

/// An image, wherever it is.
#[derive(Debug, Args)]
pub(crate) struct WhichImage {
    /// An image of the Docker engine; or the path of a 'docker save' archive or OCI layout; or docker-archive:PATH,
    /// oci-archive:PATH, oci:PATH, docker-daemon:NAME, or docker://NAME for one of a registry.
    #[arg(value_name = "IMAGE|ARCHIVE")]
    pub(crate) image: String,
    /// Which of an image's platforms: amd64, arm64; this host's unless said.
    #[arg(long)]
    pub(crate) architecture: Option<String>,
    /// A registry that is spoken to without TLS, as HOST:PORT; those on loopback are anyway.
    #[arg(long, value_name = "HOST")]
    pub(crate) insecure_registry: Vec<String>,
    /// How much memory the conversion may take, such as 512MiB; images of many names take more than the usual 150 MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
}

/// Where files are kept, and the engine.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The folder that the service keeps its files in [env: ORCHESTRATOR_STATE_DIR].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<String>,
    /// The configuration file [env: ORCHESTRATOR_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
