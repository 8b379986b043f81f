"""The journey of the README: from a key to a downloaded video."""

from tests.conftest import Api


def test_a_task_is_created_watched_and_its_video_downloaded(api: Api) -> None:
    task_id = api.new_task()
    assert api.task(task_id)["status"] == "pending"
    api.account.clock.advance(2)
    assert api.task(task_id)["status"] == "processing"
    api.account.clock.advance(3)
    done = api.task(task_id)
    assert (done["status"], done["progress"]) == ("completed", 100)
    video = api.client.get(done["results"][0])
    assert video.headers["content-type"] == "video/mp4"
    assert video.content[4:8] == b"ftyp"
    assert api.credits() == {"remaining_credits": 994.24, "unlimited_credits": False, "used_credits": 5.76}
