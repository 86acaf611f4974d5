//! One connection to the database.

use tokio_postgres::{Client, Config, NoTls};

/// A connection of its own.
///
/// # Errors
///
/// When PostgreSQL does not answer, or refuses.
pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // An error of the connection shows at the client's next query.
    tokio::spawn(connection);
    Ok(client)
}
