-- The shop's roles and tables, with a table of orders in the state that nightly maintenance is for.

\set shop_password `cat /run/secrets/shop/password`
\set upkeep_password `cat /run/secrets/upkeep/password`
\set admin_password `cat /run/secrets/admin/password`

CREATE ROLE shop LOGIN PASSWORD :'shop_password';
CREATE ROLE upkeep LOGIN PASSWORD :'upkeep_password';
CREATE DATABASE shop OWNER shop;
-- Restores need a superuser where there are extensions that only one can create.
CREATE ROLE shop_admin LOGIN SUPERUSER PASSWORD :'admin_password';

-- What Upkeep needs, and no more:
--   pg_monitor        reads statistics and measures bloat;
--   pg_read_all_data  reads every table, for the dump of a backup;
--   shop              owns the tables: up to PostgreSQL 16 only owners may VACUUM. From 17 on, grant pg_maintain
--                     instead, which can neither change nor drop anything.
GRANT pg_monitor, pg_read_all_data, shop TO upkeep;

\connect shop
CREATE EXTENSION pgstattuple;
CREATE EXTENSION pg_stat_statements;

SET ROLE shop;

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE
);
CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL
);
CREATE TABLE daily_sales (
    day date PRIMARY KEY,
    orders bigint NOT NULL,
    revenue numeric(14, 2) NOT NULL,
    refreshed_at timestamptz NOT NULL
);
-- Nobody vacuums this one but Upkeep.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    product_id bigint NOT NULL,
    quantity smallint NOT NULL,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL,
    placed_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (autovacuum_enabled = off);

INSERT INTO customers (name, email)
SELECT 'Customer ' || n, 'customer-' || n || '@example.com' FROM generate_series(1, 5000) AS n;

INSERT INTO products (title, price)
SELECT 'Product ' || n, 5 + n % 195 FROM generate_series(1, 500) AS n;

-- In one transaction, so that no page is tidied up on the way: 300,000 orders remain, with 420,000 dead row versions.
BEGIN;
INSERT INTO orders (customer_id, product_id, quantity, amount, status, placed_at, updated_at)
SELECT 1 + n % 5000, 1 + n % 500, 1 + n % 3, (1 + n % 3) * (5 + n % 195), 'new',
       now() - (320000 - n) * interval '90 seconds', now()
FROM generate_series(1, 320000) AS n;
DELETE FROM orders WHERE id <= 20000;
UPDATE orders SET status = 'paid', updated_at = clock_timestamp();
UPDATE orders SET status = 'shipped', updated_at = clock_timestamp() WHERE id <= 120000;
COMMIT;

CREATE INDEX orders_placed_at ON orders (placed_at);
CREATE INDEX orders_customer_id ON orders (customer_id);
ANALYZE customers, products, daily_sales;
