"""Who is signed in: what follows when the user of a session changes, and models of users."""
