//! The schema, and which role applies it: an instance's own may do no more than its work (`sql/role.sql`).

use postgres_protocol::escape::escape_literal;
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Error as DatabaseError;
use tokio_postgres::error::SqlState;

use crate::config::Config;

use super::connection::describe;
use super::session::Database;

const SCHEMA: &str = include_str!("../../sql/schema.sql");
const ROLE: &str = include_str!("../../sql/role.sql");
const BOTH: &str = concat!(include_str!("../../sql/schema.sql"), include_str!("../../sql/role.sql"));

/// Whether the table bears the comment of this very schema, and whoever asks may do with the tables what an instance does.
const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_attribute \
    WHERE attrelid = to_regclass('users') AND attname = 'written' \
        AND obj_description(attrelid, 'pg_class') = 'peleja: schema ' || encode(sha256(convert_to($1, 'UTF8')), 'hex') \
        AND has_table_privilege(attrelid, 'SELECT') AND has_table_privilege(attrelid, 'INSERT') \
        AND has_table_privilege(to_regclass('departed'), 'SELECT'))";

/// The word `peleja` in ASCII: who applies the schema has the advisory lock of this number.
const LOCK: u64 = 0x70_65_6c_65_6a_61;

/// How an instance sees to it that the schema is there.
#[derive(Clone)]
pub(super) struct Schema {
    /// As the instance's role.
    own: Database,
    /// As another role, which applies the schema and says what the instance's may do.
    migration: Option<Database>,
    /// Which role the instance's is.
    role: tokio_postgres::Config,
}

impl Schema {
    pub(super) fn of(config: &Config) -> Self {
        // A table of an earlier schema may be large, and is written anew.
        let database = |given| Database::new(given, config.patience, "-c statement_timeout=0 -c lock_timeout=5s");
        let (own, migration) = (database(&config.database), config.migration.as_ref().map(database));
        Self { own, migration, role: config.database.clone() }
    }

    /// Whether the schema is there as it stands here, and the instance's role may work with it.
    ///
    /// # Errors
    ///
    /// What the database or the way to it says.
    pub(super) async fn is_there(&self) -> Result<bool, DatabaseError> {
        let (client, _) = self.own.connect().await?;
        client.query_one(IS_THERE, &[&BOTH]).await?.try_get(0)
    }

    /// Applies the schema, unless it is there: to apply it again would wait for whoever has changes open, and all creates
    /// would wait behind it. The connection of the other role is opened for this alone, and closed behind it.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    pub(super) async fn apply(&self) -> Result<(), String> {
        match (self.is_there().await, &self.migration) {
            (Ok(true), _) => Ok(()),
            (Ok(false), None) => run(&self.own, &whole("")).await,
            (Ok(false), Some(migration)) => run(migration, &whole(&self.role())).await,
            // The role is not there yet, or has another password.
            (Err(error), Some(migration)) if is_refused(&error) => run(migration, &whole(&self.role())).await,
            (Err(error), _) => Err(describe(&error)),
        }
    }

    /// Lets the instance's role work with the tables that are there.
    ///
    /// # Errors
    ///
    /// Why it still cannot.
    pub(super) async fn restore_rights(&self) -> Result<(), String> {
        match &self.migration {
            Some(migration) => run(migration, &self.role()).await,
            None => Ok(()),
        }
    }

    /// The script that makes the instance's role what it is.
    fn role(&self) -> String {
        let verifier = self.role.get_password().map(scram_sha_256).unwrap_or_default();
        let set = |name: &str, value: &str| format!("SET LOCAL peleja.{name} = {};", escape_literal(value));
        let name = self.role.get_user().unwrap_or_default();
        format!("{} {} {ROLE}", set("role", name), set("verifier", &verifier))
    }
}

/// The whole schema with the comment that tells it from others, and what stands behind it.
fn whole(behind: &str) -> String {
    let comment = format!("'peleja: schema ' || encode(sha256(convert_to({}, 'UTF8')), 'hex')", escape_literal(BOTH));
    format!(
        "{SCHEMA} DO $comment$ BEGIN EXECUTE format('COMMENT ON TABLE users IS %L', {comment}); END $comment$; {behind}"
    )
}

/// Runs a script in one transaction; others who run one wait.
async fn run(database: &Database, script: &str) -> Result<(), String> {
    let outcome = async {
        let (client, _) = database.connect().await?;
        // The lock ends with the transaction.
        client.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK}); {script} COMMIT;")).await
    };
    outcome.await.map_err(|error: DatabaseError| describe(&error))
}

/// Whether the database knows no such role with that password.
fn is_refused(error: &DatabaseError) -> bool {
    let refusals = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    error.code().is_some_and(|code| refusals.contains(code))
}
