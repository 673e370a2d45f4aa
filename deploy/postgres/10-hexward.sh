#!/bin/sh
# Runs once, when the database volume is empty: Hexward's own role, which is no superuser, and its database.
# CREATEROLE lets the migrations create the service role, which may only append to and read the audit trail.
set -eu
: "${DATABASE_PASSWORD:?Set DATABASE_PASSWORD to the password of the role hexward.}"

psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE hexward LOGIN NOSUPERUSER NOCREATEDB CREATEROLE PASSWORD :'password';
CREATE DATABASE hexward OWNER hexward ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE hexward FROM PUBLIC;
SQL
