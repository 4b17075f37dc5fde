// How this crate's server is started; main.rs says who else has such a file.

pub const EXE: &str = env!("CARGO_BIN_EXE_counter-server");

/// Whether it is one of the two whose original is opened as a file.
pub const LETS_IN_FILES: bool = true;

/// A running server.
pub type Server = testing::Program;

/// Starts `EXE` with `args`, by way of the command `by` if that is not empty.
pub async fn start_by(by: &[&str], args: &[&str]) -> Server {
    let words = [by, &[EXE], args].concat();
    testing::Program::start(words[0], &words[1..]).await
}
