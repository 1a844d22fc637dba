//! The Hub in memory that the tests use, for programs in other languages: prints its address, and serves until its input
//! ends.
//!
//! ```sh
//! cargo run -p adautomix-hub --example serve
//! ```

#[path = "../tests/hub/server/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod server;

use std::io::Read;

#[expect(clippy::print_stdout, reason = "whoever started it reads the address")]
fn main() -> std::io::Result<()> {
    let server = server::Server::start();
    println!("{} {}", server.endpoint, server::WRITER);
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
