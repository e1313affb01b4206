//! A directory that nobody keeps: each node knows some names, and whoever asks hears from those that know.
//!
//! `cargo run --example directory`

#![allow(clippy::print_stdout)]

use std::time::Duration;

use peernet::{Config, Error, Mesh};

/// A node that knows one name, says so to whoever searches for it, and tells the rest when it is asked.
async fn knows(name: &'static str, number: &'static str) -> Result<Mesh, Error> {
    let mesh = Mesh::builder().config(Config::local()).open().await?;
    mesh.on_search(move |search| {
        if search.kind() == b"name" && search.data() == name.as_bytes() {
            // If the asker is gone by now, nobody misses the answer.
            let _ = search.reply(name);
        }
    });
    mesh.on_request(move |request| {
        tokio::spawn(async move { request.respond(&(name, number)).await });
    });
    Ok(mesh)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let nodes = [knows("Ada", "1815").await?, knows("Grace", "1906").await?, knows("Alan", "1912").await?];
    let asker = Mesh::builder().config(Config::local()).open().await?;
    // The asker is told of the first only; more links come as nodes hear of each other.
    asker.connect(&nodes[0].address().to_string()).await?;
    for pair in nodes.windows(2) {
        pair[0].connect(&pair[1].address().to_string()).await?;
    }

    let mut rows = asker.search("name", "Alan")?;
    if let Some(row) = rows.next().await {
        println!("{} is known, and {} nodes passed that on", String::from_utf8_lossy(&row.data), row.hops);
        // Who found it is proven, so the question goes to that very node.
        let answer = asker.request(&row.sender, &("number?",), Duration::from_secs(10)).await?;
        println!("it answers {:?}", answer.payload());
    }
    for node in nodes.iter().chain([&asker]) {
        node.close().await;
    }
    Ok(())
}
