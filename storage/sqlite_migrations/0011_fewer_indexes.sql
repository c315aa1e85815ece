-- oldest-program: 1
-- What is under way is few rows, and another index holds them: this one was written at each of a delivery's steps.
DROP INDEX deliveries_state;
